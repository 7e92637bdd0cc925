cp "$ROOT/tests/docs/prepared/README/shop.py" .
