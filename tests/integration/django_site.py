"""A Django site of one view; imported by the tests that need it, when they run: it imports Django."""

from __future__ import annotations

import django
import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.http import require_POST
from pydantic import BaseModel, ValidationError

# One configuration serves all tests of a process. When a test runs, every test module is imported, also one that
# configures Django for itself: then this site is named by `override_settings`.
if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[], SECRET_KEY="only for tests")
    django.setup()


class Lead(BaseModel):
    age: int


@require_POST
def create(_request: HttpRequest, **_: str) -> HttpResponse:
    with pytest.raises(ValidationError):
        Lead.model_validate({})
    return HttpResponse()


leads = [path("leads/<kind>", create)]
urlpatterns = [*leads, path("of/<tenant>/", include(leads))]
