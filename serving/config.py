"""Which models to serve: ModelServerConfig from the flags or a file, and whether it can be taken."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving import messages
from serving.errors import failed_precondition, invalid
from serving.flags import Options

#: What a model's `model_platform` may be.
PLATFORM = "tensorflow"


def of_options(options: Options) -> Any:
    """Return the ModelServerConfig that the flags name.

    Raises:
        StartError: the file is broken: with its line and field.
    """
    if options.model_config_file:
        return messages.read(Path(options.model_config_file), model_server_config_pb2.ModelServerConfig)
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=options.model_name,
                                        base_path=str(Path(options.model_base_path).absolute()),
                                        model_platform=PLATFORM)
    return config


def check(new: Any) -> None:
    """Raise ServingError where a configuration cannot be taken."""
    if new.WhichOneof("config") == "custom_model_config":
        raise failed_precondition("Cannot transition to requested config. It is only legal to transition from one "
                                  "ModelConfigList to "
                                  "another.")
    seen = set()
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
        if not one.model_platform and not one.model_type:
            raise invalid("Illegal setting neither ModelServerConfig::model_type (deprecated) nor model_platform.")
        if one.model_platform and one.model_type:
            raise invalid("Illegal setting both ModelServerConfig::model_type (deprecated) and model_platform.")
        if (one.model_platform or PLATFORM) != PLATFORM:
            raise invalid(f"Model {one.name} requests unsupported platform {one.model_platform}")
