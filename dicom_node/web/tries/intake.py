"""Files of a form, read as they come, into an upload."""

from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from dicom_node.errors import BadUpload
from dicom_node.tryout.upload import Upload
from dicom_node.web.multipart_stream import (
    SILENCE_S,
    BadMultipart,
    MultipartStream,
    TooMuch,
    boundary_of,
    chunks_of,
)


async def read_form(request: Request, upload: Upload) -> None:
    """Keep the files of a form.

    Raises:
        BadUpload: it is no form with files, or more than there may be.
        ClientDisconnect: the sender has gone.
    """
    boundary = boundary_of(request.headers.get("content-type", ""), "multipart/form-data")
    if boundary is None:
        raise BadUpload("send the files as a form (multipart/form-data), as the page does")
    chunks = chunks_of(request)
    try:
        stream = MultipartStream(boundary, upload.begin)
        async for chunk in chunks:
            await run_in_threadpool(stream.write, chunk)
        stream.finish()
    except TimeoutError as error:
        raise BadUpload(f"nothing came for {SILENCE_S:g} s; drop the files again") from error
    except (BadMultipart, TooMuch) as error:
        await _drain(chunks)
        raise BadUpload(str(error)) from error
    except BadUpload:
        await _drain(chunks)
        raise
    if not upload.files():
        raise BadUpload("no file was chosen; drop a folder, a zip or a NIfTI file")


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read the rest: a browser shows no answer that comes while it still sends."""
    with suppress(TimeoutError):
        async for _ in chunks:
            pass
