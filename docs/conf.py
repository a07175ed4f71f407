"How Sphinx builds the site: `make docs` stages the pages with `build_site.py` and calls it."

from configparser import ConfigParser
from pathlib import Path

settings = ConfigParser(delimiters=['='])
settings.read(Path(__file__).parent.parent / 'settings.ini', encoding='utf-8')
about = settings['DEFAULT']

project = about['title']
author = about['author']
copyright = about['copyright'].removesuffix(author).rstrip(', ')
release = about['version']

# myst_nb reads Markdown and notebooks; outputs are those that the notebooks hold, since a site that trains takes hours
extensions = ['myst_nb', 'sphinx_copybutton', 'sphinx_design']
nb_execution_mode = 'off'
nb_merge_streams = True
nb_code_prompt_show = 'Show the code'
nb_code_prompt_hide = 'Hide the code'
nb_mime_priority_overrides = [('html', 'application/vnd.jupyter.widget-view+json', None)]
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3
source_suffix = {'.md': 'myst-nb', '.ipynb': 'myst-nb'}
copybutton_prompt_text = r'\$ |>>> '
copybutton_prompt_is_regexp = True

maximum_signature_line_length = 80
python_display_short_literal_types = True
toc_object_entries = False
add_module_names = False

html_theme = 'furo'
html_title = project
html_static_path = ['_static']
html_css_files = ['site.css']
html_theme_options = {
    'source_repository': about['git_url'],
    'source_branch': about['branch'],
    'source_directory': 'docs/',
    'top_of_page_buttons': [],
}
html_copy_source = False
html_show_sourcelink = False
