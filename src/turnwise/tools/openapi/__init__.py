"""Tools from OpenAPI documents (3.0 and 3.1): each operation becomes a tool. Public as `Tools.from_openapi`, and `turnwise.openapi`.

`document` reads and follows references, `schemas` makes JSON Schemas that models understand, `operations` says what is asked of a model,
`serialised` writes its arguments into a request, `auth` adds the caller's keys, `calling` sends it. Nothing is requested at import or
when tools are made.
"""

from .auth import ApiKey, Auth, Basic, Bearer, Outgoing
from .document import Spec
from .making import Options, tools_of

__all__ = ["ApiKey", "Auth", "Basic", "Bearer", "Options", "Outgoing", "Spec", "tools_of"]
