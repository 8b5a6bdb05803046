"""The same two functions, called."""


def load(rows: int) -> list[int]:
    return list(range(rows))


def train(data: list[int]) -> int:
    return sum(data)


if __name__ == "__main__":
    print(train(load(10)))
