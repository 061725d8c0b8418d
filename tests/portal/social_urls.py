"""The site's addresses with those of django-allauth's dummy provider, as if it were configured."""

from django.urls import include, path

from config import urls

handler429 = urls.handler429

urlpatterns = [
    path("accounts/", include("allauth.socialaccount.providers.dummy.urls")),
    *urls.urlpatterns,
]
