import time

MESSAGE = "edit me: api/main.py"

print(MESSAGE)
while True:
    time.sleep(3600)
