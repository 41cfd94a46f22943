"""Show which answers a method turns, and where the evidence of these questions went.

reading    a benchmark's result file, checked line by line, as columns
store      tables as files that a browser fetches; one case of them
errors_tab the page's tab
results.js comparison, filters, counts, CSV: no document
view.js    the table in the browser: what is chosen, sorted, scrolled and drawn
choices.js the fields above it
counts.js  accuracy and counts that filter
columns.js the columns of a row
detail.js  the chosen question in full
elements.js pieces of the document that these share
"""
