"""The front page, and the small files that browsers and robots ask for."""

from django.urls import path

from portal.home import views

urlpatterns = [
    path("", views.home, name="home"),
    path("legal/terms", views.legal, {"document": "terms"}, name="terms"),
    path("legal/privacy", views.legal, {"document": "privacy"}, name="privacy"),
    path("legal/imprint", views.legal, {"document": "imprint"}, name="imprint"),
    path("brand/<str:digest>/<str:kind>", views.brand_file, name="brand_file"),
    path("sitemap.xml", views.sitemap_xml, name="sitemap"),
    path("robots.txt", views.robots_txt, name="robots_txt"),
    path("prefetch.json", views.prefetch_rules, name="prefetch_rules"),
    path("favicon.ico", views.Favicon.as_view(), name="favicon"),
    path(".well-known/jwks.json", views.jwks, name="jwks"),
    path(".well-known/security.txt", views.security_txt, name="security_txt"),
]
