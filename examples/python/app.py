import platform

from flask import Flask, jsonify, request

app = Flask(__name__)
notes = ["A note from Flask."]


@app.get("/")
def read():
    return jsonify(python=platform.python_version(), notes=notes)


@app.post("/")
def write():
    notes.append(str(request.json["note"]))
    return jsonify(notes=notes), 201
