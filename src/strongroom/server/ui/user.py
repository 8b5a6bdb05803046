"""The pages of users, and of one's own account."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from strongroom.errors import InvalidInput, Unauthenticated
from strongroom.models.user import ChangePassword, CreateUser, DeactivateUser, GetUser, ListUsers, UpdateUser, User
from strongroom.operations import user as of_user
from strongroom.redaction import SecretText
from strongroom.server.ui.visit import PAGE_SIZE, Form, Visit


async def list_users(visit: Visit) -> Response:
    """The users of the deployment, by name."""
    query = visit.request.query_params
    search = query.get("search", "").strip()
    wanted = ListUsers(name=f"contains:{search}" if search else None, page=visit.page_number, size=PAGE_SIZE)
    found = await visit.ask(of_user.LIST, wanted)
    if visit.is_partial:
        return visit.piece("user/_table.html", users=found, search=search)
    return await visit.page("user/list.html", users=found, search=search)


async def create_user(visit: Visit) -> Response:
    """Adds a user, and shows who that is."""
    form = await visit.form()
    wanted = CreateUser(name=form.get("name").strip(), password=_password(form), admin=bool(form.get("admin")))
    made = await visit.ask(of_user.CREATE, wanted)
    return visit.go_to(f"/users/{quote(made.name)}")


async def show_user(visit: Visit) -> Response:
    """A user, with what can be done about them."""
    return await visit.page("user/show.html", user=await _user(visit))


async def change_admin(visit: Visit) -> Response:
    """Gives or takes the administration of the server."""
    form = await visit.form()
    user = await _user(visit)
    await visit.ask(of_user.UPDATE, UpdateUser(id=user.id, admin=form.get("admin") == "yes"))
    return visit.go_to("/account" if user.id == visit.actor.user_id else f"/users/{quote(user.name)}")


async def set_password(visit: Visit) -> Response:
    """Gives a user another password; their sessions end."""
    form = await visit.form()
    user = await _user(visit)
    await visit.ask(of_user.UPDATE, UpdateUser(id=user.id, password=_password(form)))
    return visit.go_to(f"/users/{quote(user.name)}?done=password")


async def deactivate_user(visit: Visit) -> Response:
    """Ends all that a user can do."""
    form = await visit.form()
    user = await _user(visit)
    if form.get("typed").strip() != user.name:
        raise InvalidInput("nothing was changed: what you typed is not the name", hint=f"type {user.name}")
    await visit.ask(of_user.DEACTIVATE, DeactivateUser(id=user.id))
    return visit.go_to(f"/users/{quote(user.name)}")


async def show_account(visit: Visit) -> Response:
    """Who is signed in."""
    return await visit.page("user/account.html")


async def change_password(visit: Visit) -> Response:
    """Gives oneself another password; one's other sessions end."""
    form = await visit.form()
    new = _password(form)
    try:
        await visit.ask(of_user.CHANGE_PASSWORD, ChangePassword(current=SecretText(form.get("current")), new=new))
    except Unauthenticated as error:  # it is the password that is wrong: this session goes on
        raise InvalidInput(error.message, hint="nothing was changed; type it again") from None
    return visit.go_to("/account?done=password")


def _password(form: Form) -> SecretText:
    """The password that was typed twice."""
    if form.get("password") != form.get("again"):
        raise InvalidInput("the two passwords differ", hint="type the same one twice")
    return SecretText(form.get("password"))


async def _user(visit: Visit) -> User:
    found: User = await visit.ask(of_user.GET, GetUser(name=visit.request.path_params["name"]))
    return found


PAGES = (
    ("GET", "/users", list_users, False),
    ("POST", "/users", create_user, False),
    ("GET", "/users/{name}", show_user, False),
    ("POST", "/users/{name}/admin", change_admin, False),
    ("POST", "/users/{name}/password", set_password, False),
    ("POST", "/users/{name}/deactivate", deactivate_user, False),
    ("GET", "/account", show_account, False),
    ("POST", "/account/password", change_password, False),
)
