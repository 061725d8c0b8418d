"""Sign-up and sign-in: what this service adds to django-allauth, whose views do the work."""
