VENV := .venv
PACKAGES = $(VENV)/lib/python*/site-packages

lambda.zip: $(VENV)/installed src/app.py
	rm -f $@
	cd $(PACKAGES) && zip -qr $(CURDIR)/$@ .
	cd src && zip -qg ../$@ app.py

$(VENV)/installed: requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	. $(VENV)/bin/activate && pip install -q -r requirements.txt
	touch $@

clean:
	rm -rf $(VENV) lambda.zip
