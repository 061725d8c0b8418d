"""Members, invitations and who did what."""

from django.urls import path

from portal.team import views

urlpatterns = [
    path("team/switch", views.switch_team, name="switch_team"),
    path("team", views.team, name="team"),
]
