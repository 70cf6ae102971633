#include "record_calls.hpp"

#include <array>
#include <memory>
#include <utility>

#include "bytes.hpp"
#include "objects.hpp"

namespace aisle {

namespace {

constexpr int64_t kNanoseconds = 1'000'000'000;
// CDR, little-endian: the encapsulation header (2 of its bytes say the encoding), then the stamp's seconds and nanoseconds.
constexpr int kWord = 4;
constexpr int64_t kHeader = 4, kStampEnd = kHeader + 2 * kWord;
constexpr std::array<uint8_t, 2> kEncoding = {0, 1};
// A person in aisle_msgs/PersonDetection: the box's edges and the score, how many numbers the keypoints have, the keypoints, how many the
// embedding has, the embedding.
constexpr int64_t kBoxWords = 4, kBeforeKeypoints = 6, kKeypoints = 17, kKeypointWords = 3;

PyObject* record_class(Values values, Py_ssize_t given) {
    auto held = std::make_unique<Held<RecordClass>>("record_class", values, given, 2);
    PyObject* kind = held->arguments().object();
    held->content.learn(kind, held->arguments().object());
    return Held<RecordClass>::handle(std::move(held));
}

// What the messages of a topic have in common.
struct RecordForm {
    static constexpr const char* kName = "aisle_kernels.record_form";

    const RecordClass* kind;
    PyObject *values, *array, *number;
    const uint8_t *same, *counts;
    int64_t same_size;

    Py_ssize_t shared() const { return PyTuple_GET_SIZE(values); }
};

PyObject* record_form(Values values, Py_ssize_t given) {
    auto held = std::make_unique<Held<RecordForm>>("record_form", values, given, 6);
    Arguments& arguments = held->arguments();
    RecordForm& form = held->content;
    form.kind = &Held<RecordClass>::of(arguments.object());
    form.values = arguments.object(), form.array = arguments.object(), form.number = arguments.object();
    form.same_size = arguments.rows(1), form.same = arguments.bytes(form.same_size), form.counts = arguments.bytes(form.same_size);
    if (!PyTuple_Check(form.values) || !PyType_Check(form.array))
        refuse(PyExc_TypeError, "record_form: expected a class's handle, a tuple of values, a class of arrays and their type");
    return Held<RecordForm>::handle(std::move(held));
}

// A message that begins as its form says.
class Message {
public:
    Message(Arguments& arguments, Py_ssize_t arrays)
        : form_(Held<RecordForm>::of(arguments.object())),
          size_(arguments.rows(1)),
          data_(arguments.bytes(size_)),
          fields_(static_cast<std::size_t>(1 + form_.shared() + arrays)) {
        if (form_.kind->size() != fields_.size())
            refuse(PyExc_ValueError, "a record's form: expected as many names as there are values and arrays, and one for the stamp");
    }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;

    const RecordForm& form() const { return form_; }

    // Whether it does. What follows is `rest`.
    bool begins_alike() {
        const int64_t end = kStampEnd + form_.same_size;
        if (size_ < end || std::memcmp(data_, kEncoding.data(), kEncoding.size()) != 0) return false;
        int other = 0;
        for (int64_t k = 0; k < form_.same_size; ++k) other |= (data_[kStampEnd + k] ^ form_.same[k]) & form_.counts[k];
        if (other) return false;
        Bytes stamp(data_ + kHeader, 2 * kWord);
        rest = Bytes(data_ + end, size_ - end);
        const int64_t second = static_cast<int32_t>(static_cast<uint32_t>(stamp.number(kWord)));
        const int64_t nanosecond = static_cast<int64_t>(stamp.number(kWord));
        give(Owned(PyLong_FromLongLong(second * kNanoseconds + nanosecond)));
        for (Py_ssize_t k = 0; k < form_.shared(); ++k) give(Owned::borrowed(PyTuple_GET_ITEM(form_.values, k)));
        return true;
    }

    // The same, and how many numbers or persons follow.
    bool begins_alike(int64_t& count) {
        if (!begins_alike() || rest.left() < kWord) return false;
        count = static_cast<int64_t>(rest.number(kWord));
        return true;
    }

    // The next field.
    void give(Owned value) { fields_[next_++] = std::move(value); }

    void give_none() { give(Owned::borrowed(Py_None)); }

    // An array of floats of this shape as the next field; where they are to be written.
    template <std::size_t axes>
    char* give_floats(const std::array<int64_t, axes>& shape) {
        const Owned sizes(PyTuple_New(static_cast<Py_ssize_t>(axes)));
        int64_t size = static_cast<int64_t>(sizeof(float));
        for (std::size_t axis = 0; axis < axes; ++axis) {
            size *= shape[axis];
            Owned length(PyLong_FromLongLong(shape[axis]));
            PyTuple_SET_ITEM(sizes.object, static_cast<Py_ssize_t>(axis), length.given_away());
        }
        const Owned bytes(PyByteArray_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
        PyObject* arguments[] = {sizes.object, form_.number, bytes.object};
        give(Owned(PyObject_Vectorcall(form_.array, arguments, 3, nullptr)));
        return PyByteArray_AS_STRING(bytes.object);
    }

    PyObject* record() { return form_.kind->made(fields_); }

    Bytes rest{nullptr, 0};

private:
    const RecordForm& form_;
    int64_t size_;
    const uint8_t* data_;
    std::vector<Owned> fields_;
    std::size_t next_ = 0;
};

PyObject* plain_record(Values values, Py_ssize_t given) {
    Arguments arguments("plain_record", values, given, 2);
    Message message(arguments, 0);
    // Less than a word may follow.
    if (!message.begins_alike() || message.rest.left() >= kWord) Py_RETURN_NONE;
    return message.record();
}

PyObject* scale_reading(Values values, Py_ssize_t given) {
    Arguments arguments("scale_reading", values, given, 2);
    Message message(arguments, 1);
    int64_t count = 0;
    if (!message.begins_alike(count)) Py_RETURN_NONE;
    const Py_ssize_t shared = message.form().shared();
    PyObject* plates = shared ? PyTuple_GET_ITEM(message.form().values, shared - 1) : nullptr;
    const int64_t columns = plates && PyTuple_Check(plates) ? PyTuple_GET_SIZE(plates) : 0;
    const int64_t size = static_cast<int64_t>(sizeof(float)) * count;
    if (!columns || count % columns || size > message.rest.left()) Py_RETURN_NONE;
    char* weights = message.give_floats(std::array<int64_t, 2>{count / columns, columns});
    std::memcpy(weights, message.rest.data(), static_cast<std::size_t>(size));
    return message.record();
}

struct PersonSizes {
    int64_t keypoints = 0, embedding = 0;
};

// How many numbers the keypoints and the embedding of each of `count` persons have, who take up what is left of a message but for less
// than a word. False where they differ or do not fit.
bool measure(Bytes left, int64_t count, PersonSizes& sizes) {
    for (int64_t person = 0; person < count; ++person) {
        if (left.left() < kWord * kBeforeKeypoints) return false;
        left.skip(kWord * (kBeforeKeypoints - 1));
        const int64_t keypoints = static_cast<int64_t>(left.number(kWord));
        if (kWord * keypoints + kWord > left.left()) return false;
        left.skip(kWord * keypoints);
        const int64_t embedding = static_cast<int64_t>(left.number(kWord));
        if (kWord * embedding > left.left()) return false;
        left.skip(kWord * embedding);
        if (person > 0 && (keypoints != sizes.keypoints || embedding != sizes.embedding)) return false;
        sizes = {keypoints, embedding};
    }
    return left.left() < kWord;
}

PyObject* person_detections(Values values, Py_ssize_t given) {
    Arguments arguments("person_detections", values, given, 2);
    Message message(arguments, 4);
    int64_t count = 0;
    if (!message.begins_alike(count)) Py_RETURN_NONE;
    PersonSizes sizes;
    if (count > 0 && !measure(message.rest, count, sizes)) Py_RETURN_NONE;
    if (sizes.keypoints && sizes.keypoints != kKeypoints * kKeypointWords) Py_RETURN_NONE;
    // Where in a person's words each part begins, how many words it has, and where they go.
    struct Part {
        int64_t start, words;
        char* target;
    };
    const int64_t embedding_at = kBeforeKeypoints + sizes.keypoints + 1;
    std::array<Part, 4> parts{};
    parts[0] = {0, kBoxWords, message.give_floats(std::array<int64_t, 2>{count, kBoxWords})};
    parts[1] = {kBoxWords, 1, message.give_floats(std::array<int64_t, 1>{count})};
    std::size_t used = 2;
    if (sizes.keypoints)
        parts[used++] = {kBeforeKeypoints, sizes.keypoints,
                         message.give_floats(std::array<int64_t, 3>{count, kKeypoints, kKeypointWords})};
    else
        message.give_none();
    if (sizes.embedding)
        parts[used++] = {embedding_at, sizes.embedding, message.give_floats(std::array<int64_t, 2>{count, sizes.embedding})};
    else
        message.give_none();
    const uint8_t* person = message.rest.data();
    for (int64_t k = 0; k < count; ++k, person += kWord * (embedding_at + sizes.embedding))
        for (std::size_t p = 0; p < used; ++p) {
            const std::size_t size = static_cast<std::size_t>(kWord * parts[p].words);
            std::memcpy(parts[p].target + static_cast<std::size_t>(k) * size, person + kWord * parts[p].start, size);
        }
    return message.record();
}

// Track and body point as in aisle_contract.records: how many attributes they have, and how many points a person.
constexpr std::size_t kTrackFields = 9, kTrackStates = 3, kPointFields = 2, kPoints = 3;

PyObject* unpacked_tracks(Values values, Py_ssize_t given) {
    Arguments arguments("unpacked_tracks", values, given, 9);
    const RecordClass& track = Held<RecordClass>::of(arguments.object());
    const RecordClass& point = Held<RecordClass>::of(arguments.object());
    PyObject* people = arguments.object();
    if (track.size() != kTrackFields || point.size() != kPointFields || !PyList_Check(people))
        refuse(PyExc_TypeError, "unpacked_tracks: expected classes of 9 and of 2 attributes and a list");
    const Py_ssize_t persons = PyList_GET_SIZE(people);
    const bool* known = arguments.in<bool>(persons * static_cast<int64_t>(kPoints));
    PyObject* states[kTrackStates];
    for (PyObject*& state : states) state = arguments.object();
    PyObject *positions = arguments.object(), *covariances = arguments.object();
    Owned tracks(PyTuple_New(persons));
    for (Py_ssize_t i = 0; i < persons; ++i) {
        PyObject* person = PyList_GET_ITEM(people, i);
        if (!PyTuple_Check(person) || PyTuple_GET_SIZE(person) != 3)
            refuse(PyExc_TypeError, "unpacked_tracks: expected of each person a track, an existence and how long he was unseen");
        std::array<Owned, kTrackFields> fields;
        fields[0] = Owned::borrowed(PyTuple_GET_ITEM(person, 0));
        for (std::size_t k = 0; k < kTrackStates; ++k) fields[1 + k] = Owned(PySequence_GetItem(states[k], i));
        fields[4] = Owned::borrowed(PyTuple_GET_ITEM(person, 1)), fields[5] = Owned::borrowed(PyTuple_GET_ITEM(person, 2));
        for (std::size_t k = 0; k < kPoints; ++k) {
            const Py_ssize_t row = i * static_cast<Py_ssize_t>(kPoints) + static_cast<Py_ssize_t>(k);
            if (!known[row]) {
                fields[6 + k] = Owned::borrowed(Py_None);
                continue;
            }
            std::array<Owned, kPointFields> parts{Owned(PySequence_GetItem(positions, row)), Owned(PySequence_GetItem(covariances, row))};
            fields[6 + k] = Owned(point.made(parts));
        }
        PyTuple_SET_ITEM(tracks.object, i, track.made(fields));
    }
    return tracks.given_away();
}

}  // namespace

PyMethodDef kRecordMethods[] = {
    method<record_class>("record_class", "record_class(class, names) -> class"),
    method<record_form>("record_form", "record_form(class, values, array class, number type, same, counts) -> form"),
    method<plain_record>("plain_record", "plain_record(form, message) -> record or None"),
    method<scale_reading>("scale_reading", "scale_reading(form, message) -> record or None"),
    method<person_detections>("person_detections", "person_detections(form, message) -> record or None"),
    method<unpacked_tracks>("unpacked_tracks",
                            "unpacked_tracks(track, point, people, known, positions, velocities, covariances, points, spreads) -> tuple"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace aisle
