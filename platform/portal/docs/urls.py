"""How to use the API."""

from django.urls import path

from portal.docs import views

urlpatterns = [
    path("docs", views.docs, name="docs"),
    path("docs/search", views.search_docs, name="docs_search"),
    path("docs/agents/<slug:agent_slug>/key", views.create_agent_key, name="agent_key"),
    path("docs/agents/keys/<int:key_id>/first-call", views.first_call, name="first_call"),
    path("docs/<path:slug>.md", views.markdown, name="docs_markdown"),
    path("docs/<path:slug>", views.page, name="docs_page"),
    path("llms.txt", views.llms_txt, name="llms_txt"),
]
