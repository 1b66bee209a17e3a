"""Which models to serve: ModelServerConfig from the flags or a file, and whether it can be taken."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving import messages
from serving.errors import StartError, failed_precondition, invalid
from serving.flags import Options

PLATFORMS = ("", "tensorflow", "tensorflow_lite")


def of_options(options: Options) -> Any:
    """The ModelServerConfig that the flags name.

    Raises:
        StartError: neither a base path nor a file is given, or the file is broken: with its line and field.
    """
    if options.model_config_file:
        return messages.read(Path(options.model_config_file), model_server_config_pb2.ModelServerConfig)
    if not options.model_base_path:
        raise StartError("Both server_options.model_base_path and server_options.model_config_file are empty! "
                         "Give --model_base_path=FOLDER, the folder that holds the numbered versions")
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=options.model_name, base_path=str(Path(options.model_base_path).absolute()),
                                        model_platform="tensorflow")
    return config


def check(new: Any, old: Any) -> None:
    """Raises ServingError where a configuration cannot be taken, or not after the one before."""
    if new.WhichOneof("config") == "custom_model_config":
        raise failed_precondition("Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
                                  "another.")
    seen = set()
    platforms = {one.name: one.model_platform for one in old.model_config_list.config} if old is not None else {}
    for one in new.model_config_list.config:
        if not one.name:
            raise invalid("Illegal to list a model without a name in config list")
        if one.name in seen:
            raise invalid(f"Illegal to list model {one.name} multiple times in config list")
        seen.add(one.name)
        if not one.base_path:
            raise invalid(f"Model {one.name} has no base_path")
        if not Path(one.base_path).is_absolute():
            raise invalid(f"Expected model {one.name} to have an absolute path; got base_path()={one.base_path}")
        if one.model_platform not in PLATFORMS:
            raise invalid(f"Model {one.name} requests unsupported platform {one.model_platform}")
        if platforms.get(one.name, one.model_platform) != one.model_platform:
            raise failed_precondition(f"Illegal to change a model's platform. For model {one.name} platform was "
                                      f"{platforms[one.name]} and new platform requested is {one.model_platform}")
