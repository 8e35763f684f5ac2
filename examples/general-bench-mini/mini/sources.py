"""The documented functions of the standard library, as data."""

from __future__ import annotations

import ast
import functools
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Function:
    """A documented function of the standard library."""

    module: str
    name: str
    signature: str
    parameters: tuple[str, ...]
    code: str
    doc: str


#: Pure Python modules of the standard library with many documented functions.
MODULE_NAMES = """
argparse ast asyncio/base_events asyncio/streams asyncio/tasks base64 bdb bisect bz2 calendar cgi
cmd code codecs codeop collections/__init__ concurrent/futures/_base configparser contextlib copy
csv dataclasses datetime difflib dis doctest email/_header_value_parser email/header email/message
email/utils enum filecmp fileinput fnmatch fractions ftplib functools gettext glob gzip heapq
html/__init__ http/client http/cookiejar imaplib inspect ipaddress json/__init__ json/encoder
keyword linecache locale logging/__init__ logging/handlers lzma mailbox mimetypes nntplib ntpath
numbers os pathlib pdb pickle pickletools pkgutil platform poplib posixpath pprint profile pyclbr
pydoc queue quopri random reprlib runpy sched secrets selectors shelve shlex shutil smtplib socket
socketserver statistics string subprocess symtable sysconfig tabnanny tarfile tempfile textwrap
threading timeit token tokenize trace traceback turtle typing unittest/case unittest/loader
unittest/mock urllib/parse urllib/request uuid warnings weakref wsgiref/util xml/dom/minidom
zipfile zoneinfo/_common
"""


@functools.cache
def functions() -> tuple[Function, ...]:
    """Documented functions and methods of the standard library, one of each name.

    Twins (`posixpath.split` and `ntpath.split`) would let a model copy from training to test.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, Function] = {}
    sentences: set[str] = set()
    for module in MODULE_NAMES.split():
        tree = ast.parse((root / f"{module}.py").read_text("utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            doc = ast.get_docstring(node)
            body = node.body[1:]
            if not doc or not body or not doc.isascii():
                continue
            node.body, node.decorator_list = body, []
            code = ast.unparse(node)
            arguments = node.args
            parameters = tuple(
                a.arg
                for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
                if a.arg not in ("self", "cls")
            )
            name = module.replace("/__init__", "").replace("/", ".")
            signature = code.split("\n", 1)[0]
            sentence = first_sentence(doc).casefold()
            if sentence not in sentences and node.name.casefold() not in found:
                sentences.add(sentence)
                found[node.name.casefold()] = Function(
                    name, node.name, signature, parameters, code, doc
                )
    return tuple(found.values())


def first_sentence(doc: str) -> str:
    """The first sentence of a docstring on one line."""
    paragraph = " ".join(re.split(r"\n\s*\n", doc.strip(), maxsplit=1)[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]
