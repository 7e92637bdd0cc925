"""billiard, whose processes Celery's prefork pool runs."""
