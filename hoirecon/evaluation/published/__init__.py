"""Published figures as data, and leaderboards that put ours only beside an equal protocol."""

from hoirecon.evaluation.published.entries import Published as Published
from hoirecon.evaluation.published.entries import list_published as list_published
