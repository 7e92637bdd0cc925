"""The reader's API."""

from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI, Schema

api = NinjaAPI()


class Task(Schema):
    title: str


@api.post("/tasks")
def create(request: HttpRequest, task: Task) -> Task:
    return task


urlpatterns = [path("api/", api.urls)]
