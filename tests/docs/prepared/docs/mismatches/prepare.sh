python -c "from app import main; main.metadata.create_all(main.engine)"
