"""What the site has besides the pages in docs/: documents of the root, and the reference of the TypeScript client.

Links are written so that they lead somewhere in the checkout; what lies outside docs/ gets its address in the site here. A page that
would have a reader's browser ask another host for anything fails the build.
"""

import logging
import re
import subprocess
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / ".tools/reference"
REPOSITORY = "https://github.com/halfping/halfping"
# Documents of the root that are pages too.
PAGES = ["PROTOCOL.md", "ARCHITECTURE.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md"]

log = logging.getLogger("mkdocs.hooks")

LINK = re.compile(r"(\]\(<?)([^)\s>]+)")
LOADED = re.compile(r"""<(?:script|img|iframe|source|video|audio|object|embed)\b[^>]*?\b(?:src|data)=["']?(https?:)?//|"""
                    r"""<link\b(?![^>]*\brel=["']?(?:canonical|alternate|prev|next))[^>]*?\bhref=["']?(https?:)?//""")


def on_config(config):
    """Decisions, by their titles."""
    for section in config.nav:
        for entry in next(iter(section.values())):
            if isinstance(entry, dict) and entry.get("Decisions") == "adr/":
                decisions = sorted((ROOT / "docs/adr").glob("*.md"))
                entry["Decisions"] = [{title(decision): f"adr/{decision.name}"} for decision in decisions]


def title(page):
    """`# ADR 1: Slices in order of slots` without what stands before the colon."""
    return page.read_text().split("\n", 1)[0].removeprefix("#").split(":", 1)[-1].strip()


def on_pre_build(config):
    """The reference, written anew when the client's source is newer."""
    sources = [*(ROOT / "clients/typescript/src").rglob("*.ts"), ROOT / "docs/site/typedoc.json"]
    made = REFERENCE / "index.md"
    if made.exists() and all(source.stat().st_mtime < made.stat().st_mtime for source in sources):
        return
    typedoc = ROOT / ".tools/typedoc/node_modules/typedoc/bin/typedoc"
    if not typedoc.exists():
        raise PluginError("typedoc is not there. Run once: cargo xtask test site")
    told = subprocess.run(["node", typedoc, "--options", ROOT / "docs/site/typedoc.json"], cwd=ROOT, capture_output=True, text=True)
    if told.returncode != 0 or not made.exists():
        raise PluginError(f"typedoc failed:\n{told.stdout}{told.stderr}")


def on_files(files, config):
    for name in PAGES:
        files.append(File.generated(config, name.lower(), abs_src_path=str(ROOT / name)))
    for page in sorted(REFERENCE.rglob("*.md")):
        name = page.relative_to(REFERENCE).as_posix()
        if name == "README.md":
            continue  # a list of the other two
        files.append(File.generated(config, f"reference/typescript/{name}", abs_src_path=str(page)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to what is not in docs/: to its page, when it has one, and else to the repository."""
    name = page.file.src_uri
    at = next((of_root for of_root in PAGES if of_root.lower() == name), f"docs/{name}")
    if name.startswith("reference/typescript/"):
        # It escapes what only other flavours of Markdown escape.
        markdown = "`".join(part if n % 2 else part.replace("\\<", "&lt;") for n, part in enumerate(markdown.split("`")))
        return re.sub(r"\A# \w+", {"index.md": "# TypeScript client", "react.md": "# React"}[Path(name).name], markdown)

    def rewritten(match):
        file, hash_, heading = match[2].partition("#")
        if "://" in file or file.startswith("mailto:") or not file:
            return match[0]
        target = normpath(f"{dirname(at)}/{file}".lstrip("/"))
        if target.startswith("docs/") and files.get_file_from_path(target[5:]):
            to = target[5:]
        elif target in PAGES:
            to = target.lower()
        else:
            if not (ROOT / target).exists():
                log.warning(f"{at} links to {target}, which does not exist")
            return f"{match[1]}{REPOSITORY}/blob/main/{target}{hash_}{heading}"
        return f"{match[1]}{relpath(to, dirname(name) or '.')}{hash_}{heading}"

    in_code = False
    lines = markdown.split("\n")
    for number, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            # What stands between backticks is every second piece.
            pieces = line.split("`")
            pieces[::2] = [LINK.sub(rewritten, piece) for piece in pieces[::2]]
            lines[number] = "`".join(pieces)
    return "\n".join(lines)


def on_page_content(html, page, config, files):
    """The reference's table of contents: names, not what each consists of."""
    if page.file.src_uri.startswith("reference/typescript/"):
        parts = {"Parameters", "Returns", "Type Parameters", "Get Signature", "Constructor", "Example", "Throws"}
        queue = [page.toc.items]
        while queue:
            items = queue.pop()
            items[:] = [item for item in items if item.title not in parts]
            queue += [item.children for item in items]
    return html


def on_post_page(output, page, config):
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from another host: {found[0]}")
    return output
