BUCKET := my-bundles
NAME := orders

default: dist/$(NAME).zip
.PHONY: default deploy release

# No stamp for the cache, `zip -g` for the handler, wheels made below src.
wheels: src/requirements.txt
	cd src; pip3 wheel -r requirements.txt -w ../wheels
	touch wheels

dist/$(NAME).zip: wheels src/app.py
	mkdir -p dist
	rm -rf tree
	unzip -qo 'wheels/*.whl' -d tree
	cd tree; zip -qr ../dist/$(NAME).zip .
	cd src; zip -qg ../dist/$(NAME).zip app.py

deploy: dist/$(NAME).zip
	aws s3 cp dist/$(NAME).zip s3://$(BUCKET)/lambda/$(NAME).zip
	aws lambda update-function-code --region eu-west-1 --function-name $(NAME) --s3-bucket $(BUCKET) --s3-key lambda/$(NAME).zip

release: deploy
	aws lambda publish-version --function-name $(NAME)
	aws lambda update-alias --function-name $(NAME) --name live --function-version 1
