"""Configuration of the proxy before the gateways."""

from collections.abc import Sequence
from pathlib import Path

from deploy.stack.errors import Missing
from deploy.stack.settings import fill_in

TEMPLATE = Path(__file__).with_name("proxy.conf.template")

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Of Debian's package libnginx-mod-stream."""


def write_proxy(folder: Path, port: int, gateways: Sequence[int]) -> Path:
    """Write nginx's configuration and return the file.

    Raises:
        Missing: nginx cannot pass TCP on.
    """
    if not MODULE.exists():
        raise Missing(f"{MODULE} is missing; sudo apt-get install libnginx-mod-stream")
    # After one failure a gateway is left out for five seconds.
    each = "        server 127.0.0.1:{} max_fails=1 fail_timeout=5s;"
    words = {
        "HEPAR_FOLDER": str(folder),
        "HEPAR_STREAM_MODULE": str(MODULE),
        "HEPAR_LISTEN": f"127.0.0.1:{port}",
        "HEPAR_GATEWAYS": "\n".join(each.format(gateway) for gateway in gateways),
    }
    return fill_in(TEMPLATE, words, folder / "proxy.conf")
