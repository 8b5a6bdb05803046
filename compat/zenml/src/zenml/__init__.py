"""The names of ZenML's documents on secrets, forwarded to strongroom. `ZENML_*` variables count as `STRONGROOM_*` ones."""

from importlib.metadata import PackageNotFoundError, distribution

from strongroom.config import adopt_variables

try:
    distribution("zenml")
except PackageNotFoundError:
    adopt_variables("ZENML_")
else:
    raise ImportError(
        "the real package 'zenml' is installed beside 'strongroom-zenml', which has overwritten files of it; "
        "uninstall strongroom-zenml and reinstall zenml, or use strongroom's names in an environment of their own"
    )
