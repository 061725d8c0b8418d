"""How to use the API."""

from django.urls import path

from portal.docs import views

urlpatterns = [
    path("docs", views.docs, name="docs"),
    path("docs/search", views.search_docs, name="docs_search"),
    path("docs/<slug:slug>", views.page, name="docs_page"),
]
