"""The page of a device's code, the page of an app, and the endpoints that programs call."""

from django.urls import path

from portal.authorize.views import apps, device, tokens

urlpatterns = [
    path("device", device.device, name="device"),
    path("auth", apps.authorize_app, name="authorize_app"),
    path("oauth/device_authorization", tokens.device_authorization, name="device_authorization"),
    path("oauth/token", tokens.token, name="oauth_token"),
    path("oauth/revoke", tokens.revoke, name="oauth_revoke"),
]
