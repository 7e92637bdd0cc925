"""The API and its schemas."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI, Schema
from pydantic import StringConstraints

api = NinjaAPI(title="Tasks")


class TaskIn(Schema):
    title: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    done: bool = False


class TaskOut(TaskIn):
    id: int


TASKS: list[TaskOut] = []


@api.post("/tasks", response={201: TaskOut})
def create(request: HttpRequest, task: TaskIn) -> tuple[int, TaskOut]:
    TASKS.append(TaskOut(id=len(TASKS) + 1, **task.model_dump()))
    return 201, TASKS[-1]


@api.get("/tasks", response=list[TaskOut])
def tasks(request: HttpRequest, limit: int = 20) -> list[TaskOut]:
    return TASKS[-limit:]


urlpatterns = [path("api/", api.urls)]
