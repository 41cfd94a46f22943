"""Show every view of one trace in the browser, with one selection shared by all.

    bundle.py      a trace as one binary file, its frames as one picture (numpy, cv2)
    component.py   the views' code as one ``gr.HTML``
    modules.py     ES modules joined into one script, without a build step
    js/            the views and what they are made of, an ES module a file
    *.css          their looks: of the views, of where they stand, of stage mode

The page sends a few addresses; from there on hover, click, playback, stages and the replay need no
server.
"""
