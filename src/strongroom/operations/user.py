"""The operations on users, and those by which people prove who they are."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.user import (
    AccessToken,
    ChangePassword,
    CreateUser,
    DeactivateUser,
    GetUser,
    Identity,
    ListUsers,
    Login,
    Logout,
    SetUp,
    UpdateUser,
    User,
    WhoAmI,
)
from strongroom.operations.operation import Operation, Repeat
from strongroom.operations.permission import Permission

CHANGE_PASSWORD = Operation("user.change-password", "POST", "/password", Permission.SELF, ChangePassword, type(None))
CREATE = Operation("user.create", "POST", "/users", Permission.USER_MANAGE, CreateUser, User, "/users/{name}")
DEACTIVATE = Operation("user.deactivate", "POST", "/users/{id}/deactivate", Permission.USER_MANAGE, DeactivateUser, type(None))
GET = Operation("user.get", "GET", "/users/{name}", Permission.USER_MANAGE, GetUser, User)
LIST = Operation("user.list", "GET", "/users", Permission.USER_MANAGE, ListUsers, Page[User])
LOGIN = Operation("user.login", "POST", "/login", None, Login, AccessToken, repeat=Repeat.NEVER)
LOGOUT = Operation("user.logout", "POST", "/logout", Permission.SELF, Logout, type(None))
SET_UP = Operation("user.set-up", "POST", "/setup", None, SetUp, AccessToken, repeat=Repeat.NEVER)
UPDATE = Operation("user.update", "PATCH", "/users/{id}", Permission.USER_MANAGE, UpdateUser, User)
WHO_AM_I = Operation("user.who-am-i", "GET", "/me", Permission.SELF, WhoAmI, Identity, for_runs=True)

USER_OPERATIONS = (CHANGE_PASSWORD, CREATE, DEACTIVATE, GET, LIST, LOGIN, LOGOUT, SET_UP, UPDATE, WHO_AM_I)
