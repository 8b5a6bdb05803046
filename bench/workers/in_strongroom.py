"""strongroom's Python client on the embedded store."""

from typing import Any

from drill import PAGE_SIZE, name_of, serve, values_of


class Strongroom:
    """Uses only what the documentation of the client promises."""

    def open(self) -> None:
        from strongroom.client import Client

        self.client = Client()

    def create(self, name: str, values: dict[str, str]) -> None:
        self.client.create_secret(name=name, values=values)

    def get(self, name: str) -> Any:
        return self.client.get_secret(name).secret_values

    def values_of(self, answer: Any) -> dict[str, str]:
        return dict(answer)

    def update(self, name: str, values: dict[str, str]) -> None:
        self.client.update_secret(name, add_or_update_values=values)

    def page(self, number: int) -> Any:
        return self.client.list_secrets(page=number, size=PAGE_SIZE)

    def size_of(self, answer: Any) -> tuple[int, int]:
        return len(answer.items), answer.total

    def fill(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.create(name_of(number), values_of(number))


if __name__ == "__main__":
    serve(Strongroom())
