"""The results as a static site: one folder of pages that needs neither a server nor a network."""

from tasks.report.site.build import Site, build_site

__all__ = ["Site", "build_site"]
