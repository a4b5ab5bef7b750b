"""The paragraphs of a page, of rows that went through a file, as they always do."""

from edgenet.bench.pages.record import as_read


def told(module, *given):
    """The claim, the parts and the limits of what a module measures."""
    found = as_read(module.results(*given))
    limits = [module.LIMITS] if isinstance(module.LIMITS, str) else list(module.LIMITS)
    return [module.claim(found), *module.parts(found), *limits]
