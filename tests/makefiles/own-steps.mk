.PHONY: test docs

build/lambda.zip: build/staged
	cd build/tree && zip -qr ../lambda.zip .

build/staged: build/requirements.txt app.py build/version.txt
	rm -rf build/tree
	pip install -q --target build/tree -r build/requirements.txt
	cp app.py build/tree/
	sed -i 's/@VERSION@/1.0/' build/tree/app.py
	touch $@

build/requirements.txt: poetry.lock
	poetry export -f requirements.txt --without-hashes -o $@

build/%.txt: %.in
	tr a-z A-Z < $< > $@

test: build/staged
	PYTHONPATH=build/tree python3 -m unittest $$(ls test*.py)

docs:
	$(MAKE) -C doc
