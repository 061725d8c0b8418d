"""The models: a list, and a page each. `/models` itself is the API's."""

from django.urls import path, register_converter

from portal.catalogue import views


class ModelName:
    """A public name, whatever is in it: slashes and line breaks too."""

    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        """Return the name in a path."""
        return value

    def to_url(self, value: str) -> str:
        """Return the name to be put into a path; Django escapes it."""
        return value


register_converter(ModelName, "model_name")

urlpatterns = [
    path("docs/models", views.models, name="models"),
    path("docs/models/<model_name:model_name>", views.model, name="model"),
]
