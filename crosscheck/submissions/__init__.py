"""What people hand in, read: a file, a notebook, a folder, a zip, a folder of an LMS. Nothing is run.

submission.py    what every reader gives
python_file.py   text and encoding
notebook.py      code cells out of the JSON, magics stripped, definitions kept
archive.py       a zip, without escaping from it or being flooded by it
folder.py        a folder of files
course.py        one entry per student
"""

from crosscheck.submissions.course import Entry, course
from crosscheck.submissions.reading import read
from crosscheck.submissions.submission import Submission, Unreadable

__all__ = ["Entry", "Submission", "Unreadable", "course", "read"]
