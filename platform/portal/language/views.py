"""Switching the language, signed in or not."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.languages import known_language
from accounts.models import User


# Visitors' pages set no CSRF cookie. Another site's form can't change a profile, as the session's
# cookie is SameSite=Lax; the most it can change is the language of the pages seen next.
@csrf_exempt
@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """Keep the chosen language in the profile and in a cookie; go back to the page it is for."""
    language = known_language(request.POST.get("language", ""))
    if not language:
        return HttpResponseBadRequest("Choose one of the languages that the page offers.")
    if request.user.is_authenticated:
        User.objects.filter(pk=request.user.pk).update(language=language)
    place = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(place, {request.get_host()}, request.is_secure()):
        place = reverse("home")
    response = redirect(place)
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )
    return response
