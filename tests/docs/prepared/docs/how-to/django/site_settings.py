"""The reader's Django project: settings and ASGI application."""

import os

SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "urls"

if os.environ.get("DJANGO_SETTINGS_MODULE") == __name__:
    from django.core.asgi import get_asgi_application

    application = get_asgi_application()
