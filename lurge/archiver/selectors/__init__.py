"""
Who proposes what is acted on, each in a file of its own.

A selector looks at where it knows things from, and at the disk, not at what was done before: that
is for `lurge.archiver.due`. What it leaves out it tells, with the reason.
"""
