"""The front page, and the small files that browsers and robots ask for."""

from django.urls import path

from portal.home import views

urlpatterns = [
    path("", views.home, name="home"),
    path("robots.txt", views.robots_txt, name="robots_txt"),
    path("favicon.ico", views.Favicon.as_view(), name="favicon"),
    path(".well-known/security.txt", views.security_txt, name="security_txt"),
]
