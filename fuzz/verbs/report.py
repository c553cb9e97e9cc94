"""`midfolio report`: what the campaigns of a work directory came to."""

from pathlib import Path

import click

from .. import exits
from . import options


@click.command()
@options.work
@options.only_arch
@options.as_json
@options.quiet
def command(work: Path | None, arch: str | None, as_json: bool, quiet: bool) -> int:
    """Print what each campaign came to, over all its runs, the one that ran last first.

    Cases, classes, findings by class and their files, and the size of the corpus, from
    the work directory's campaigns.sqlite. A campaign may be running meanwhile.
    """
    from harness.findings import default_work

    from ..store.database import Database
    from ..store.overview import lines, record
    from ..store.store import Store
    from ..store.work import FILE

    path = (work or default_work()) / FILE
    if path.is_file():
        store = Store(Database.to_read(path))
        campaigns = [past for past in store.campaigns() if arch in (None, past.key.arch)]
        store.close()
    else:
        campaigns = []
    if as_json:
        from ..report import print_json

        print_json([record(past) for past in campaigns])
    if not campaigns:
        of = f" of {arch}" if arch else ""
        click.echo(f"midfolio: report: no campaign{of} in {path.parent}", err=True)
        return exits.TOO_LITTLE
    if not as_json:
        for past in campaigns:
            print("\n".join(lines(past, quiet=quiet)))
            print()
        cases = sum(record(past)["cases"] for past in campaigns)
        findings = sum(len(past.findings) for past in campaigns)
        print(
            f"report: {len(campaigns)} campaigns, {cases} cases, {findings} findings written; exit 0"
        )
    return exits.OK
