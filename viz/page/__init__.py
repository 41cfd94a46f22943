"""Hold the page's parts: what a visitor sees and sets, and what happens on a click.

All with gradio.

inspect_tab     the two sides of the tab Inspect; ``cards`` their text, ``theme`` their looks
inspect_events  what happens there: ``ask_events``, ``open_events``, ``choice_events``,
                ``figure_events``, ``live``; ``shown`` is what the right side shows of a trace
one_case        the left side and the right side speak of the same clip and question
upload          a clip of the visitor's own
run_events      runs that the workspace asks for: ``compare``, ``what_if``, ``why``
projections     UMAP behind the page
share           links and files to give away; ``onefile`` the report in one file
model_menu      the models that visitors may choose
api             endpoints for scripts
gate, guard     checks of every request, and what every event has in common
"""
