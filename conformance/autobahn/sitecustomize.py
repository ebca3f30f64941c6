# What pip installs with --target lies in a folder that Python does not treat as a site: the .pth file that makes `zope` a
# package is not read. Python imports this module at its start; `run.mjs` puts it in the way.
import os
import site

site.addsitedir(os.environ["AUTOBAHN_SITE"])
