"""Show which answers a method turns, and where the evidence of these questions went.

reading    a benchmark's result file, checked line by line, as columns
store      tables as files that a browser fetches; one case of them
measure    shares, odds and their intervals
thumbnails a moment of each clip
fiftyone_files  questions and clips as a data set
news       what the table asks of the server
errors_tab the page's tab
results.js comparison, filters, counts, CSV: no document
view.js    the table in the browser: what is chosen, sorted, scrolled and drawn
choices.js the fields above it
counts.js  accuracy and counts that filter
columns.js the columns of a row
detail.js  the chosen question in full
association.js lost evidence against turned answers
gallery.js questions as pictures
address.js what is chosen, in the page's address
elements.js pieces of the document that these share
"""
