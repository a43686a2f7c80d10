"""Plugins: how to write one (`Plugin`, `PluginContext`), how to say which ones a runtime has (`Plugins`, `Use`), and which there are
(`installed_plugins`, `plugins_in`). See docs/plugins.md."""

from .runtime.plugins.configured import LeftOut, Use
from .runtime.plugins.context import PluginContext
from .runtime.plugins.contributions import Added
from .runtime.plugins.found import FoundPlugin, installed_plugins, plugins_in
from .runtime.plugins.plugin import NoSettings, Plugin, schema_of
from .runtime.plugins.plugins import Plugins
from .runtime.plugins.problems import PluginsConfigError, Problem
from .runtime.plugins.running import PluginStatus, RunningPlugins

__all__ = [
    "Added",
    "FoundPlugin",
    "LeftOut",
    "NoSettings",
    "Plugin",
    "PluginContext",
    "PluginStatus",
    "Plugins",
    "PluginsConfigError",
    "Problem",
    "RunningPlugins",
    "Use",
    "installed_plugins",
    "plugins_in",
    "schema_of",
]
