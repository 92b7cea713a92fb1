"""Lines of text with aligned columns."""


def columns(rows):
    """Returns rows of texts, all of one length, as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)) for row in rows]
    return [line.rstrip() for line in lines]
