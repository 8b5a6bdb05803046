"""Runs a pipeline of two steps with ZenML, caching off; prints what the second step gave."""

from zenml import pipeline, step


@step
def load(rows: int) -> list[int]:
    return list(range(rows))


@step
def train(data: list[int]) -> int:
    return sum(data)


@pipeline(enable_cache=False)
def training(rows: int = 10) -> None:
    train(load(rows))


if __name__ == "__main__":
    print(training().steps["train"].output.load())
