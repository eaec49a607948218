.ONESHELL:

build/lambda.zip: src/app.py poetry.lock
	mkdir -p build/tree
	poetry export --without-hashes -o build/requirements.txt
	pip install -q -r build/requirements.txt --target build/tree
	cp src/app.py build/tree
	cd build/tree
	zip -qr ../lambda.zip .

test: src/app.py
	export PYTHONPATH=src
	cd tests
	python3 -m unittest
