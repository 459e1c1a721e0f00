"""What a seller's engineer would write in an afternoon: FastAPI, Pydantic and PostgreSQL, durable and exactly once."""
