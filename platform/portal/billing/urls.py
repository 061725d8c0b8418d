"""Credits: what is left, what they are bought with, and every receipt."""

from django.urls import path

from portal.billing import auto_views, referral, views

urlpatterns = [
    path("billing", views.billing, name="billing"),
    path("billing/auto-top-up", auto_views.save_auto_top_up, name="save_auto_top_up"),
    path("billing/code", auto_views.redeem_code, name="redeem_code"),
    path("r/<slug:code>", referral.referral, name="referral"),
]
