"""Orders: Flask, marshmallow and SQLAlchemy.

    pip install "opentelemetry-instrumentation-schema[quickstart]" flask marshmallow sqlalchemy
    OTEL_METRICS_EXPORTER=prometheus OTEL_TRACES_EXPORTER=none opentelemetry-instrument flask --app app run
    curl -X POST localhost:5000/orders -H 'Content-Type: application/json' -d '{"sku": "A-1", "quantity": 0}'
    curl -s localhost:9464/metrics | grep NewOrder

The validator of `sku` asks the database, so its query is linked to the schema: `schema_query_duration_seconds` has
`schema_name="NewOrder"` and `schema_query_relation="during"`.
"""

from __future__ import annotations

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, validate, validates
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

app = Flask(__name__)
# in memory, and so of one connection: an example needs no file
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"
    sku: Mapped[str] = mapped_column(primary_key=True)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey(Product.sku))
    quantity: Mapped[int]


class NewOrder(Schema):
    sku = fields.String(required=True)
    quantity = fields.Integer(required=True, validate=validate.Range(min=1))

    @validates("sku")
    def is_sold(self, value: str, **_: object) -> None:
        with Session(engine) as session:
            if session.get(Product, value) is None:
                raise ValidationError("not sold here")


class SoldOrder(Schema):
    id = fields.Integer()
    sku = fields.String()
    quantity = fields.Integer()


# Built once: a Schema built for each request is a miss of the validator cache each time.
order_in, order_out = NewOrder(), SoldOrder()


@app.post("/orders")
def create() -> ResponseReturnValue:
    try:
        order = Order(**order_in.load(request.get_json()))
    except ValidationError as error:
        return jsonify(error.messages), 422
    with Session(engine) as session:
        session.add(order)
        session.commit()
        return jsonify(order_out.dump(order)), 201


@app.get("/orders")
def orders() -> ResponseReturnValue:
    with Session(engine) as session:
        return jsonify(order_out.dump(session.scalars(select(Order)), many=True))


Base.metadata.create_all(engine)
with Session(engine) as first:
    first.add(Product(sku="A-1"))
    first.commit()
